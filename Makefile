# make demo: the shipped sounds through the engine. make test: everything CI checks. make test-full: what takes longer.
PYTHON ?= python3
SYSTEM_PACKAGES = clang fluid-soundfont-gm gcc graphviz jackd2 libasound2-dev libasound2-plugins libfluidsynth3 \
  libegl1 libgl1 libgl1-mesa-dri libx11-6 shellcheck systemd
.NOTPARALLEL:
.PHONY: demo test test-full test-rig test-jax lint test-system factory clean install-pi uninstall-pi deb

demo: .venv/installed
	.venv/bin/tetrad demo --out out

test: test-system .venv-test/installed lint
	TF_CPP_MIN_LOG_LEVEL=3 .venv-test/bin/python -m pytest

# What takes minutes: the reference implementation and clusters at their real size, long trainings, the engine as a
# Raspberry Pi's processor would run it.
test-full: SYSTEM_PACKAGES += debootstrap gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
test-full: test-system .venv-test/installed
	TF_CPP_MIN_LOG_LEVEL=3 .venv-test/bin/python -m pytest -m full

# The box in a virtual machine with real devices of the kernel's, and on arm64 under emulation.
test-rig: SYSTEM_PACKAGES += cpio debootstrap e2fsprogs gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-x86 \
  qemu-user-static zstd
test-rig: test-system .venv-test/installed
	.venv-test/bin/python -m pytest -m rig tests/rig

# The models and their training on Keras' other backend, as where there is a graphics card.
test-jax: test-system .venv-test/installed
	.venv-test/bin/pip install -q jax
	KERAS_BACKEND=jax .venv-test/bin/python -m pytest -k "not quantized and not reference and not tensorflow" \
	  -m "full or not full" tests/train/test_wavenet.py tests/train/test_sampler.py tests/train/test_student.py \
	  tests/train/test_training.py tests/train/test_baseline.py tests/train/test_run.py tests/train/test_monitor.py

lint: .venv-test/installed
	.venv-test/bin/ruff check .
	.venv-test/bin/mypy
	for cc in gcc clang; do $$cc -std=c11 -O2 -fsyntax-only -Wall -Wextra -Wno-psabi -Werror -DPy_LIMITED_API=0x030B0000 \
	  -I$$(.venv-test/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))') \
	  device/engine/*.c train/sampling/*.c || exit 1; done

# What pip would take a page to say.
define CAN_BUILD
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "needs Python 3.11 or later with venv: sudo apt-get install python3-venv"; exit 1; }
	@test -f $$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h \
	  || { echo "needs Python's headers: sudo apt-get install python3-dev"; exit 1; }
	@command -v cc >/dev/null || { echo "needs a C compiler: sudo apt-get install gcc"; exit 1; }
endef

# The device part: no TensorFlow. matplotlib draws the demo's picture.
.venv/installed: pyproject.toml $(wildcard device/engine/*.[ch] train/sampling/*.[ch])
	$(CAN_BUILD)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --progress-bar on -e '.[picture]'
	touch $@

# The reference implementation of NSynth, which tests compare with, lies apart from what is imported (train/reference.py).
REFERENCE = magenta==2.1.4 tf_slim==1.1.0

.venv-test/installed: pyproject.toml $(wildcard device/engine/*.[ch] train/sampling/*.[ch])
	$(CAN_BUILD)
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/pip install -q -e '.[train,dev,enclosure]'
	.venv-test/bin/pip install -q --no-deps --upgrade --target .venv-test/reference $(REFERENCE)
	touch $@

# A Raspberry Pi into a Tetrad (docs/service.md); ROOT: that of a card in a reader.
install-pi:
	sh device/service/install.sh $(if $(ROOT),--root $(ROOT))

uninstall-pi:
	sh device/service/install.sh --uninstall $(if $(ROOT),--root $(ROOT))

ARCH ?= arm64
RELEASE ?= bookworm
deb: .venv/installed
	.venv/bin/python -m device.service.package --architecture $(ARCH) --release $(RELEASE)

test-system:
	@for package in $(SYSTEM_PACKAGES); do \
	  dpkg-query -W -f='$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed \
	    || missing="$$missing $$package"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then export DEBIAN_FRONTEND=noninteractive; \
	    apt-get update -q && apt-get install -y -q --no-install-recommends $$missing; \
	  else echo "tests need system packages: sudo apt-get install$$missing"; exit 1; fi; fi

# What is shipped, from finished runs: a student's, that of a teacher which was taught to play its encoder
# (`tetrad train autoencoder --encoder RUN`), the baseline's, and the notes that they learned from, FluidR3's first:
# make factory RUN=runs/student TEACHER=runs/taught BASELINE=runs/baseline NOTES=notes/three
TETRAD = .venv-test/bin/tetrad
FACTORY = device/factory
PACK = .venv-test/bin/python -m train.pack
TO_OPUS = import sys, soundfile; audio, rate_hz = soundfile.read(sys.argv[1]); \
  soundfile.write(sys.argv[2], audio, rate_hz, "OPUS", format="OGG", compression_level=0.9)

factory: .venv-test/installed
	@test -n "$(RUN)" -a -n "$(TEACHER)" -a -n "$(BASELINE)" -a -n "$(NOTES)" \
	  || { echo "make factory RUN=… TEACHER=… BASELINE=… NOTES=…"; exit 1; }
	mkdir -p train/factory/baseline docs/examples out
	cp $(BASELINE)/config.json $(BASELINE)/history.csv train/factory/baseline
	cp $(RUN)/config.json $(RUN)/history.csv $(RUN)/calibration.npz train/factory
	cp $(TEACHER)/history.csv train/factory/teacher-history.csv
	for part in encoder decoder; do \
	  $(PACK) $(BASELINE)/$$part.weights.h5 train/factory/baseline/$$part.weights.h5 || exit 1; done
	for part in encoder student; do \
	  $(PACK) $(RUN)/$$part.weights.h5 train/factory/$$part.weights.h5 || exit 1; done
	$(PACK) $(TEACHER)/decoder.weights.h5 train/factory/decoder.weights.h5
	$(TETRAD) quantize train/factory --out $(FACTORY)/decoder.tflite --encoder $(FACTORY)/encoder.tflite
	rm -f $(FACTORY)/*.tetrad docs/examples/*.opus
	$(TETRAD) preset library $(FACTORY)/library.json --notes $(NOTES) --out $(FACTORY)
	for preset in $(FACTORY)/*.tetrad; do \
	  $(TETRAD) render docs/phrase.mid --preset $$preset --out out/example.wav \
	    && .venv-test/bin/python -c '$(TO_OPUS)' out/example.wav docs/examples/$$(basename $$preset .tetrad).opus \
	    || exit 1; done

clean:
	rm -rf .venv .venv-test .cache out build *.egg-info device/_alsa*.so device/_engine*.so train/_sampler*.so
