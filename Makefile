# make demo: the shipped sounds through the engine. make test: everything CI checks.
PYTHON ?= python3
SYSTEM_PACKAGES = fluidsynth fluid-soundfont-gm clang libsndfile1

.PHONY: demo test lint test-system factory clean

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

# What is shipped, from a finished run: make factory RUN=runs/student NOTES=notes/fluid
TETRAD = .venv-test/bin/tetrad
FACTORY = device/factory
CORNER = --corner "$(1)=$(NOTES)#$(2)"
PRESET = $(TETRAD) preset make --velocity 100 --author Tetrad \
  --licence "MIT: embeddings of notes of FluidR3 GM, (c) Frank Wen"

factory: .venv-test/installed
	mkdir -p train/factory
	cp $(RUN)/config.json $(RUN)/history.csv $(RUN)/*er.weights.h5 $(RUN)/student.weights.h5 $(RUN)/calibration.npy train/factory
	$(TETRAD) quantize train/factory --out $(FACTORY)/decoder.tflite --encoder $(FACTORY)/encoder.tflite
	$(PRESET) --name First --out $(FACTORY)/first.tetrad $(call CORNER,bass,bass_electronic_033) \
	  $(call CORNER,flute,flute_acoustic_073) $(call CORNER,organ,organ_acoustic_019) \
	  $(call CORNER,glockenspiel,mallet_acoustic_009)
	$(PRESET) --name Chamber --out $(FACTORY)/chamber.tetrad $(call CORNER,cello,string_acoustic_042) \
	  $(call CORNER,trumpet,brass_acoustic_056) $(call CORNER,clarinet,reed_acoustic_071) \
	  $(call CORNER,vibraphone,mallet_acoustic_011)
	$(PRESET) --name Garden --out $(FACTORY)/garden.tetrad $(call CORNER,electric piano,keyboard_electronic_004) \
	  $(call CORNER,choir,vocal_acoustic_052) $(call CORNER,nylon guitar,guitar_acoustic_024) \
	  $(call CORNER,harp,string_acoustic_046)

clean:
	rm -rf .venv .venv-test .cache out build *.egg-info device/_engine*.so
