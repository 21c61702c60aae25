# Thin: every recipe calls a script of tools/ or a preset of CMakePresets.json.
SHELL := /bin/bash
CACHE := $(or $(HOPSKIP_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hopskip)
MAKEFLAGS += --no-print-directory --silent
.DEFAULT_GOAL := help
.PHONY: help run test bench peers format clean

help: ## list the targets
	sed -n 's/^\([a-z]*\):.*## /\1 /p' $(firstword $(MAKEFILE_LIST)) | while read -r name what; do printf 'make %-8s%s\n' "$$name" "$$what"; done

run: ## install what is missing, build, and compare dense with skipping on a long prompt
	tools/setup.sh run
	tools/build.sh run
	tools/fetch_model.sh
	tools/fetch_text.py "$(CACHE)"
	tools/demo.py

test: ## build everything and run every test, the sanitizers and the fuzz targets
	tools/setup.sh run test
	tools/cuda_toolkit.sh >/dev/null
	tools/fetch_model.sh
	tools/fetch_text.py "$(CACHE)"
	HOPSKIP_PYTHON=$$(tools/test_environment.sh) && export HOPSKIP_PYTHON && "$$HOPSKIP_PYTHON" tools/run_tests.py

bench: ## measure this tree; the rows go to bench/results/
	tools/setup.sh run test
	tools/build.sh release
	tools/fetch_model.sh
	tools/fetch_text.py "$(CACHE)"
	bench/run.py

peers: ## measure llama.cpp on the same model (root: makes a chroot in the cache directory)
	bench/peers/llama_cpp.sh

format: ## format the C++ files that git tracks
	tools/setup.sh test
	git ls-files '*.cc' '*.h' '*.cu' '*.cuh' | xargs -r clang-format-14 -i

clean: ## delete the build folders; the cache directory stays
	rm -rf build build-asan build-tsan build-fuzz
