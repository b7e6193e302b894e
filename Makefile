# `make demo` and `make test` are all that a newcomer needs; `make dev` is for who works on it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

# What this machine can hold beyond the CPU: CUDA bindings beside an NVIDIA driver, the journal beside libsystemd's headers.
HAS_NVIDIA := $(wildcard /dev/nvidiactl /dev/nvhost-ctrl-gpu /dev/nvgpu)
HAS_SYSTEMD := $(shell command -v pkg-config >/dev/null && pkg-config --exists libsystemd && command -v cc)
# Each test starts programs: compiling them anew every time takes a tenth of the tests' time.
unexport PYTHONDONTWRITEBYTECODE
COMMA := ,
DEV_EXTRAS := cpu,train,demo,view,dev,gpu-test$(if $(HAS_NVIDIA),$(COMMA)gpu)$(if $(HAS_SYSTEMD),$(COMMA)systemd)
# On a Jetson TensorRT and OpenCV are the system's own builds.
SITE := $(if $(wildcard /etc/nv_tegra_release),--system-site-packages)

.PHONY: lock help demo provision bench test test-slow test-lowest test-newest test-systemd test-trackers test-home-assistant person-model page-picture soak scale check lint types dev tools dist deb test-dist test-deb install uninstall wheels test-gpu gpu-files test-tensorrt clean

help:
	@echo 'make demo     see it work: detections over MQTT on this machine, nothing to configure'
	@echo '              SOURCE=video.mp4|rtsp://...|/dev/video0|folder  MODEL=bundle  FRAMES=100'
	@echo 'make bench    how near to this machine'"'"'s limit, every target and whether it holds (minutes)'
	@echo '              SOURCE=video.mp4  MODEL=bundle  ROUNDS=3  PLOT=cameras.png'
	@echo 'make test     lint, types and tests'
	@echo 'make provision  edged-provision, which makes models for this device, into .venv (no torch)'
	@echo 'make dev      everything for development, torch included, into .venv'
	@echo 'make test-slow    the tests that take minutes;   make test-lowest, test-newest   on the lowest, newest allowed dependencies'
	@echo 'make test-trackers    identities of walkers beside other trackers; needs EDGED_TEST_DATA'
	@echo 'make test-home-assistant    beside a real one; needs Python 3.13.   HOME_ASSISTANT=2025.4.4'
	@echo 'sudo make install         the service, into /opt/edged, /etc/edged, /var/lib/edged;   sudo make uninstall'
	@echo '              WHEELS=directory   without network, from what `make wheels WHEELS=directory` made elsewhere'
	@echo 'make dist     what a release consists of, into dist/;   make deb   a Debian package, too'
	@echo 'make soak MINUTES=30      cameras and a broker that fail all the time; prints what became of every frame'
	@echo 'make scale DEVICES=1,50,200   devices against one broker on this machine: what a message costs it, who hears it'
	@echo 'sudo make test-systemd    install, watchdog, reload, credentials in a booted systemd'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
	  || { echo 'edged needs Python 3.10 to 3.13: make PYTHON=python3.12 $(MAKECMDGOALS)'; exit 1; }
	@$(PYTHON) -m venv $(SITE) $(VENV) || { rm -rf $(VENV); echo 'On Debian and Ubuntu: apt-get install python3-venv'; exit 1; }

# A stamp a set of extras; all are remade when the requirements change.
$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	@echo 'installing what the demo needs (no torch) ...'
	@rm -f edged/cpu/_native.*.so # of an older release, under another name
	@$(PIP) --editable '.[cpu,demo,view]'
	@touch $@

$(VENV)/provision.stamp: pyproject.toml | $(BIN)/python
	@echo 'installing edged-provision (no torch) ...'
	@rm -f edged/cpu/_native.*.so
	@$(PIP) --editable '.[cpu,demo,view,provision]'
	@touch $@ $(VENV)/demo.stamp

# The versions that the tests were run with. Without an NVIDIA driver torch's CPU build where one can be found: the usual one
# brings gigabytes of CUDA. TORCH_WHEELS=folder-or-page: where to look for it, beside where pip looks anyhow.
DEV_LOCK := tests/lock.txt
TORCH_WHEELS ?= https://download.pytorch.org/whl/cpu/torch/
CPU_TORCH = $(shell sed -n 's/^\(torch==[^ ;+]*\).*/\1+cpu/p' $(DEV_LOCK))
$(VENV)/dev.stamp: pyproject.toml $(DEV_LOCK) | $(BIN)/python
	@echo 'installing everything for development: $(DEV_EXTRAS) ...'
	@$(if $(HAS_NVIDIA),,$(PIP) --no-deps --retries 1 --find-links '$(TORCH_WHEELS)' '$(CPU_TORCH)' 2>/dev/null \
	  || echo 'no CPU build ($(CPU_TORCH)) found here: torch as the package index has it')
	@rm -f edged/cpu/_native.*.so
	@$(PIP) --constraint $(DEV_LOCK) --editable '.[$(DEV_EXTRAS)]'
	@touch $@ $(VENV)/demo.stamp $(VENV)/provision.stamp

demo: $(VENV)/demo.stamp
	@$(BIN)/edged demo $(if $(SOURCE),--source '$(SOURCE)') $(if $(MODEL),--model '$(MODEL)') $(if $(FRAMES),--frames '$(FRAMES)')

# SOURCE and MODEL as for the demo; ROUNDS=1 for a quick look.
bench: $(VENV)/demo.stamp
	@$(BIN)/edged bench --compare --sweep 1,4,16,64 $(if $(SOURCE),--source '$(SOURCE)') $(if $(MODEL),--model '$(MODEL)') \
	  $(if $(ROUNDS),--rounds '$(ROUNDS)') $(if $(PLOT),--plot '$(PLOT)')

provision: $(VENV)/provision.stamp

dev: $(VENV)/dev.stamp

# What the tests need of the system: a broker, a compiler (before `dev`, which builds machine code where there is one), and with
# TOOLS=all what a few of them need besides: an RTSP server, a clock and a network that fail, a busy machine.
tools:
	@sh tests/tools.sh $(TOOLS)

lint: dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: dev
	$(BIN)/mypy

check: lint types

# Files of tests run side by side; most of their time they wait. WORKERS=0: one after the other, for a debugger.
WORKERS ?= 3
SIDE_BY_SIDE := -n $(WORKERS)

test: tools check
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m 'not slow and not gpu and not systemd' --ignore tests/release

test-slow: tools dev
	$(BIN)/python -m pytest -m slow

# The daemon on the oldest dependencies that pyproject.toml allows, which is what a Jetson has.
LOWEST_PYTHON ?= $(PYTHON)
test-lowest: tools dev
	$(BIN)/uv venv --quiet --clear --python '$(LOWEST_PYTHON)' $(VENV)-lowest
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[cpu,demo,view,test]'
	$(VENV)-lowest/bin/python -m pytest -q $(SIDE_BY_SIDE) -m 'not slow and not gpu and not systemd' $(addprefix --ignore tests/,provisioning gpu/short_run test_reference.py test_list_model.py)

# The newest of everything that pyproject.toml allows, which is what pip takes today without a lock: run it before a release.
test-newest: tools dev
	rm -rf $(VENV)-newest; $(PYTHON) -m venv $(VENV)-newest
	$(VENV)-newest/bin/python -m pip install -qq --disable-pip-version-check $(if $(HAS_NVIDIA),,--retries 1 --find-links '$(TORCH_WHEELS)') \
	  --editable '.[cpu,train,demo,view,dev,gpu-test]'
	$(VENV)-newest/bin/mypy
	$(VENV)-newest/bin/python -m pytest -q $(SIDE_BY_SIDE) -m 'not slow and not gpu and not systemd'

# The service. systemd/install.sh says what DESTDIR, PREFIX, WHEELS and EXTRAS mean.
install uninstall wheels: export DESTDIR := $(DESTDIR)
install uninstall wheels: export PREFIX := $(or $(PREFIX),/opt/edged)
install uninstall wheels: export WHEELS := $(WHEELS)
install uninstall wheels: export LOCK := $(LOCK)
install uninstall wheels: export EXTRAS := $(EXTRAS)
install uninstall wheels: export PYTHON := $(PYTHON)
install uninstall wheels:
	@sh systemd/install.sh $@

# The versions and hashes that `make install` takes, and the versions of `make dev`; to be remade when the requirements change, and now and then.
LOCKS := systemd/lock
# The newest torch that is known to have a CPU build wherever the tests run.
TORCH ?= 2.13.0
lock: dev
	@mkdir -p $(LOCKS)
	@for extra in cpu view provision gpu systemd rtx rtx-cu12; do \
	  $(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.10 --no-config --no-annotate \
	    --generate-hashes --custom-compile-command 'make lock' \
	    --extra $$extra $$([ $$extra = cpu ] || echo --constraints $(LOCKS)/cpu.txt) --output-file $(LOCKS)/$$extra.txt || exit 1; \
	done
	@echo 'torch==$(TORCH)' >$(VENV)/torch.txt
	@$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.10 --no-config --no-annotate \
	  --custom-compile-command 'make lock' --extra cpu --extra train --extra demo --extra view --extra dev --extra gpu-test --extra systemd \
	  --constraints $(VENV)/torch.txt --constraints $(LOCKS)/provision.txt --constraints $(LOCKS)/systemd.txt --output-file $(DEV_LOCK)
	@$(BIN)/uv pip compile release/tools.in --quiet --upgrade --universal --python-version 3.10 --no-config --no-annotate \
	  --generate-hashes --custom-compile-command 'make lock' --output-file release/tools.txt
	@# A Jetson's cuda-bindings are below 13, those of torch's CUDA build above: the lock leaves them alone there.
	@sed -i "/^cuda-bindings/s/python_full_version < '3.11'$$/& and platform_machine != 'aarch64'/" $(DEV_LOCK)

# The tools of `make dist`, in an environment of their own, in the versions and by the hashes of release/tools.txt.
$(VENV)-dist/stamp: release/tools.txt
	@$(PYTHON) -m venv --clear $(VENV)-dist || { echo 'On Debian and Ubuntu: apt-get install python3-venv'; exit 1; }
	@$(VENV)-dist/bin/python -m pip install -qq --disable-pip-version-check --require-hashes --requirement release/tools.txt
	@touch $@

# Source distribution, wheel, SBOM and licences of the last commit.
dist: $(VENV)-dist/stamp
	@sh release/dist.sh $(VENV)-dist dist
	@sh release/bill.sh $(VENV)-dist dist
	@ls dist

# A package for this Debian or Ubuntu and machines of this kind.
deb: dist
	@sh release/deb.sh $(VENV)-dist dist
	@ls dist/*.deb

test-dist: $(VENV)-dist/stamp dev
	EDGED_TESTS_DIST='$(CURDIR)/$(VENV)-dist' $(BIN)/python -m pytest tests/release

# Needs root: the package on a Debian under a real systemd.
test-deb: deb dev
	@sh tests/tools.sh systemd
	EDGED_TESTS_MUST_RUN=1 EDGED_TEST_DEB=$$(ls '$(CURDIR)'/dist/*.deb) $(BIN)/python -m pytest -m systemd tests/service/test_package.py

# The tracker beside those of the package `trackers`, on walkers of EDGED_TEST_DATA at 10 to 2 frames a second.
# In an environment of its own: that package brings another OpenCV.
test-trackers: tools dev
	@test -n "$(EDGED_TEST_DATA)" || { echo 'EDGED_TEST_DATA is not set: no video with a ground truth to score on'; exit 1; }
	$(BIN)/python -m tests.analysis.tracking.rates look '$(EDGED_TEST_DATA)' $(VENV)/walkers.npz
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-trackers
	$(BIN)/uv pip install --quiet --python $(VENV)-trackers/bin/python 'trackers==2.6.1' 'lap>=0.5.12,<0.6' 'annotated-types>=0.6,<1'
	$(VENV)-trackers/bin/python -m tests.analysis.tracking.rates score '$(EDGED_TEST_DATA)' $(VENV)/walkers.npz

# A real Home Assistant beside the daemon. In an environment of its own: it needs another Python, and fixes all versions.
HOME_ASSISTANT ?= 2025.4.4
HOME_ASSISTANT_PYTHON ?= 3.13
test-home-assistant: tools dev
	$(BIN)/uv venv --quiet --clear --python '$(HOME_ASSISTANT_PYTHON)' $(VENV)-home-assistant
	$(BIN)/uv pip install --quiet --python $(VENV)-home-assistant/bin/python 'homeassistant==$(HOME_ASSISTANT)'
	$(VENV)-home-assistant/bin/python tests/home_assistant/requirements.py >$(VENV)-home-assistant/needed.txt
	$(BIN)/uv pip install --quiet --python $(VENV)-home-assistant/bin/python --requirements $(VENV)-home-assistant/needed.txt
	EDGED_TESTS_HOUSE='$(CURDIR)/$(VENV)-home-assistant' $(BIN)/python -m pytest tests/home_assistant

# Trains the model that ships, in about two hours on two cores: provisioning/person/train.sh says what it needs.
person-model: dev
	@test -n '$(PEOPLE)' && test -n '$(COCO128)' && test -n '$(VIDEOS)' && test -n '$(TEACHER)' || { \
	  echo 'make person-model PEOPLE=DIR COCO128=DIR VIDEOS=DIR TEACHER=FILE.onnx [WORK=DIR]'; exit 2; }
	PYTHON=$(BIN)/python sh provisioning/person/train.sh '$(PEOPLE)' '$(COCO128)' '$(VIDEOS)' '$(TEACHER)' '$(or $(WORK),person-model)'

# The picture of the page in the documents.
page-picture: tools dev
	$(BIN)/python -m tests.view.picture docs/page.jpg

MINUTES ?= 30
soak: tools dev
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

DEVICES ?= 1,50,200
scale: tools dev
	$(BIN)/python -m tests.scale --devices $(DEVICES)

# Needs root. What cannot run here is a failure, not a skip: nothing else is tested by this target.
test-systemd:
	@sh tests/tools.sh systemd
	@$(MAKE) --no-print-directory dev
	EDGED_TESTS_MUST_RUN=1 $(BIN)/python -m pytest -m systemd tests/service

# On a machine with a GPU and TensorRT's Python package. BUNDLE=..., quantised, FRAMES=... made by `edged-provision sample`: also
# builds and verifies engines and prints the figures; TORCH=yolov5n.pt: torch beside them. Results in gpu-proof/.
test-gpu: dev
	$(BIN)/python -m tests.gpu.prove $(if $(BUNDLE),--bundle '$(BUNDLE)') $(if $(FRAMES),--frames '$(FRAMES)') $(if $(TORCH),--torch '$(TORCH)')

# For a GPU machine that is there for minutes, without a network (tests/gpu/README.md): what it lacks, in folders that fit a
# transfer. WEIGHTS=yolov5n.pt FRAMES=pictures-or-video: a bundle, too; TENSORRT=8.5.3: that as well, with CPython 3.10 here.
gpu-files: dev
	$(BIN)/python -m tests.gpu.short_run.files $(if $(WEIGHTS),--weights '$(WEIGHTS)') $(if $(FRAMES),--frames '$(FRAMES)') \
	  $(if $(TENSORRT),--tensorrt '$(TENSORRT)') $(if $(OUT),--out '$(OUT)')

# Every call into TensorRT against the real bindings of two versions (a megabyte each), or of BINDINGS=folder.
TENSORRT_TESTS := tests/gpu/test_bindings_types.py tests/plugins/test_plugin.py tests/provisioning/build/test_bindings.py
test-tensorrt: dev
ifdef BINDINGS
	EDGED_TENSORRT_BINDINGS='$(BINDINGS)' $(BIN)/python -m pytest -m 'not gpu' $(TENSORRT_TESTS)
else
	$(BIN)/python -m pytest -m 'not gpu' $(TENSORRT_TESTS)
	$(PIP) --upgrade --no-deps --target $(VENV)/tensorrt-10.3 tensorrt-cu12-bindings==10.3.0
	EDGED_TENSORRT_BINDINGS=$(CURDIR)/$(VENV)/tensorrt-10.3 $(BIN)/python -m pytest -m 'not gpu' $(TENSORRT_TESTS)
endif

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest $(VENV)-trackers $(VENV)-home-assistant $(VENV)-dist build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
