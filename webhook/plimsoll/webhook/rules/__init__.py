"""Rules in policy languages: CEL, Rego and CUE."""
