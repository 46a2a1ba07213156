# Each target works in a fresh clone: it first sets up .venv, once.
PYTHON3 ?= python3
PYTHON := .venv/bin/python
NPM ?= npm
CHROMIUM ?= $(firstword $(foreach program,chromium chromium-browser google-chrome,$(shell command -v $(program))))
# One test file at a time in each process; tests/conftest.py says how many, and which files come first.
IN_PARALLEL := --numprocesses=auto --dist=loadfile --no-loadscope-reorder
# Hundreds of processes would each compile the files of this repository.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo demo-devices test test-cloud lint bench emulators test-web test-notebooks test-workflows test-modern test-image install format requirements sbom audit

help: ## this list
	@echo "Spanloop keeps an image model right while its code and its data change. Start with: make demo"
	@sed -n 's/^\([a-z-]*\):.*## /  make \1  /p' Makefile | awk '{printf "  %-4s %-13s", $$1, $$2; $$1 = $$2 = ""; print}'

demo: install ## the whole loop on real images, step by step: 2 minutes, leaves workspace-demo/ and a report
	@$(PYTHON) -m ci demo

demo-devices: install ## two models of one training, in an app that loses its network: 5 minutes, leaves workspace-devices/
	@$(PYTHON) -m ci demo-devices

test: install ## the tests, on the TFX line of this machine: 13 minutes on two cores; needs only Python
	@$(PYTHON) -m pytest $(IN_PARALLEL) $(TESTS)

test-cloud: install ## the tests that call Google Cloud, against servers on this machine: no network needed
	@$(PYTHON) -m pytest $(IN_PARALLEL) -m cloud $(TESTS)

lint: install ## code style, mistakes, import order, and the security of workflows
	@$(PYTHON) -m black --check --quiet --diff .
	@$(PYTHON) -m ruff check --quiet .
	@.venv/bin/lint-imports --no-logo > .ruff_cache/imports.txt || { cat .ruff_cache/imports.txt; exit 1; }
	@.venv/bin/hadolint cloudbuild/Dockerfile cloudbuild/bases/Dockerfile
	@.venv/bin/shellcheck .ci/run cloudbuild/*.sh
	@.venv/bin/yamllint --strict .github cloudbuild .yamllint.yml .pre-commit-config.yaml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-actions .github/actions/*/action.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml
	@.venv/bin/check-jsonschema --quiet --builtin-schema vendor.cloudbuild cloudbuild/cloudbuild.yaml
	@if command -v go >/dev/null; then PATH="$(CURDIR)/.venv/bin:$$PATH" $(PYTHON) -m tests.workflows.programs actionlint; \
	else echo "lint: without actionlint, which is written in Go: install Go to have workflows checked by it, too"; fi
	@.venv/bin/zizmor --quiet --offline --strict-collection --persona=auditor .github
	@echo "lint: nothing found"

bench: install ## every benchmark in benchmarks/, each against its limit: half an hour
	@$(PYTHON) benchmarks/run.py $(JOBS)

emulators: install ## Google Cloud on this machine: prints what to export, runs until Ctrl-C
	@$(PYTHON) -W ignore -m tests.emulators $(OPTIONS)

test-web: install ## the web client, built and driven in a headless browser: 2 minutes; needs Node.js 20 and Chromium
	@command -v $(NPM) >/dev/null || { echo "make test-web needs Node.js 20 with npm: https://nodejs.org"; exit 1; }
	@[ -n "$(CHROMIUM)" ] || { echo "make test-web needs Chromium: apt-get install chromium"; exit 1; }
	@cd apps/web && $(NPM) ci --silent --no-audit --no-fund && $(NPM) run --silent check && $(NPM) run --silent build
	@$(PYTHON) -m pytest $(IN_PARALLEL) $(or $(TESTS),tests/apps/web)

test-notebooks: install ## the notebooks, executed from start to end on the local servers: 4 minutes
	@$(PYTHON) -m pytest --numprocesses=auto tests/notebooks/test_notebooks.py

test-workflows: install ## the workflows, executed on this machine: 6 minutes; needs Go 1.25 and Node.js 20
	@$(PYTHON) -m tests.workflows.programs check
	@$(PYTHON) -m pytest $(IN_PARALLEL) tests/workflows/executed tests/workflows/test_openapi.py

test-modern: ## the same tests on TFX 1.21, in a Debian 13 container: needs root, podman and debootstrap
	@$(PYTHON3) tests/modern/run.py

test-image: install ## builds the image and trains in its containers, without network: needs root, podman and more
	@$(PYTHON) -W ignore::FutureWarning tests/image/run.py

install: ## sets up .venv (3 GB), chooses the TFX line for this machine and says why
	@$(PYTHON3) install.py

format: install ## formats the code as `make lint` requires
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m black --quiet .

requirements: install ## exports uv.lock to requirements.txt and cloudbuild/*.txt, for the image and for pip (23.3 or newer)
	@$(PYTHON) -m uv lock
	@$(PYTHON) -m uv export --quiet --frozen --no-default-groups --group pipeline --no-annotate -o requirements.txt
	@for of in cpu gpu; do $(PYTHON) -m uv export --quiet --frozen --only-group image-$$of --no-annotate -o cloudbuild/$$of.txt || exit; done
	@$(PYTHON) -c 'import install; print(install.uv_requirement(), end="")' > cloudbuild/uv.txt

sbom: install ## writes sbom.json: the locked packages of the image, by version and checksum (CycloneDX)
	@$(PYTHON) -m uv export --quiet --frozen --format cyclonedx1.5 --no-default-groups --group pipeline --group image-cpu --output-file sbom.json >/dev/null

audit: install ## vulnerabilities (with ADVISORIES=PATH), licences and OpenSSF Scorecard, compared with SECURITY.md
	@$(PYTHON) -m ci audit $(if $(ADVISORIES),--advisories "$(ADVISORIES)")
