# A one-node Kubernetes of its own, without the demo on it.
.PHONY: cluster-up cluster-down
cluster-up: venv ## Start (or repair) a bare one-node cluster; root on Linux
	@$(BIN)/python -m cluster up
	@$(BIN)/python -m cluster env

cluster-down: venv ## Stop it and remove its state
	@$(BIN)/python -m cluster down
