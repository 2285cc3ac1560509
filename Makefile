# make demo: the shipped sounds through the engine. make test: everything CI checks.
PYTHON ?= python3
SYSTEM_PACKAGES = fluidsynth fluid-soundfont-gm clang libsndfile1

.PHONY: demo test lint test-system clean

demo: .venv/installed
	.venv/bin/tetrad demo --out out

test: test-system .venv-test/installed lint
	.venv-test/bin/python -m pytest

lint: .venv-test/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/mypy
	for cc in gcc clang; do $$cc -std=c11 -O2 -fsyntax-only -Wall -Wextra -Werror -DPy_LIMITED_API=0x030B0000 \
	  -I$$(.venv-test/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))') \
	  device/engine/*.c || exit 1; done

# The device part: no TensorFlow. matplotlib draws the demo's picture.
.venv/installed: pyproject.toml $(wildcard device/engine/*.[ch])
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --progress-bar on -e '.[picture]'
	touch $@

.venv-test/installed: pyproject.toml $(wildcard device/engine/*.[ch])
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/pip install -q -e '.[train,dev]'
	touch $@

test-system:
	@missing=$$(dpkg-query -W -f='$${db:Status-Status} $${Package}\n' $(SYSTEM_PACKAGES) 2>&1 \
	  | sed -n 's/.*no packages found matching //p; s/^not-installed //p'); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -q && apt-get install -y -q $$missing; \
	  else echo "tests need system packages: sudo apt-get install" $$missing; exit 1; fi; fi

clean:
	rm -rf .venv .venv-test .cache out build *.egg-info device/_engine*.so
