# The Go programs that tests and the demo use.
.PHONY: tools
tools: ## Build the Go tools (7 minutes on two cores the first time)
	@$(PYTHON) -m gotools kubernetes etcd pause registry cosign helm
