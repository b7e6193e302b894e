"""The stages in order, each from the outputs before it: weights, export, frames, quantize, patch, engine, verify."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import onnx

from edged import __version__
from edged.core.bundle import MODEL, MODEL_INT8, MODEL_INT8_CPU, Bundle
from edged.core.errors import DataError
from edged.core.manifest import EngineRecord, Manifest
from edged.core.trust import Trust
from provisioning.build.bundle_engine import build_engine, engine_files, save_engine_models
from provisioning.build.maker import EngineMaker, suited
from provisioning.bundle_files import write_bundle
from provisioning.families.recognised import Hints
from provisioning.frames.frameset import FrameSet
from provisioning.frames.sample import sample
from provisioning.importing import export_model, read_names
from provisioning.quantize.int8 import CALIBRATION, quantize
from provisioning.quantize.refusal import require_quantisable
from provisioning.recipe.fingerprints import of_dataset, of_source
from provisioning.recipe.kept_engines import ENGINE_RECORD
from provisioning.recipe.settings import ProvisionSettings
from provisioning.recipe.weights import Weights
from provisioning.recipe.workshop import Output, Workshop, read_kept
from provisioning.revision import PLUGIN_MODEL, engine_models
from provisioning.verify.gate import Gate
from provisioning.verify.report import REPORT, Report, read_report
from provisioning.verify.stage import verify_bundle

_MANIFEST_PART = "manifest-part.json"
_BUNDLE = "bundle"


@dataclass(frozen=True, slots=True)
class Chain:
    """One run of the recipe.

    Attributes:
        settings: what to make.
        workshop: keeps the outputs of the stages.
        maker: builds engines; None if this machine cannot.
    """

    settings: ProvisionSettings
    workshop: Workshop
    maker: EngineMaker | None

    def run(self, weights: Weights) -> Output:
        """Make everything up to a bundle, verified if possible. The last output holds it and, if any, the report.

        Raises:
            EdgedError: a stage failed; the outputs of the stages before it stay.
        """
        exported = self._export(weights)
        needs_frames = self.settings.precision == "int8" or (self.maker is not None and bool(self.settings.frames))
        frames = self._frames() if needs_frames else None
        quantised = self._quantize(exported, frames) if self.settings.precision == "int8" and frames else None
        return self._made(exported, quantised, frames)

    def run_from(self, model: Output) -> Output:
        """Make the rest from a bundle's portable files in `model`, with its manifest: see `write_manifest`.

        Raises:
            EdgedError: a stage failed; the outputs of the stages before it stay.
        """
        frames = self._frames() if self.settings.frames else None
        return self._made(model, model if self.settings.precision == "int8" else None, frames)

    def _made(self, exported: Output, quantised: Output | None, frames: Output | None) -> Output:
        patched = self._patch(exported, quantised)
        engine = self._engine(patched) if self.maker is not None else None
        bundled = self._bundle(exported, quantised, patched, engine)
        if frames is None or not self._can_verify:
            self.workshop.say(f"{'verify':<9} nothing to compare: {self._unverified(frames)}")
            return bundled
        return self._verify(bundled, frames)

    @property
    def _can_verify(self) -> bool:
        """Whether this machine can run what has to be verified: the engine, or the INT8 graph for the CPU."""
        return self.settings.precision == "int8" or self._runs_engine

    @property
    def _runs_engine(self) -> bool:
        return self.maker is not None and self.maker.runs_here

    def _unverified(self, frames: Output | None) -> str:
        if self.maker is None:
            return "float32 runs until an engine is built"
        return "no frames are given" if frames is None else "no GPU here runs the engine"

    def _export(self, weights: Weights) -> Output:
        settings = self.settings
        names = read_names(Path(settings.names)) if settings.names else ()
        inputs = {
            "weights": weights.sha256,
            "size": settings.size,
            "name": settings.name,
            "names": list(names),
            "pixels": settings.pixels,
            "tool": __version__,
        }

        def work(folder: Path) -> None:
            exported = export_model(
                weights.path,
                name=settings.name,
                input_wh=settings.input_wh,
                licence=weights.licence,
                names=names,
                hints=Hints(settings.pixels),
            )
            if settings.precision == "int8":  # better said before frames are sampled than after
                require_quantisable(exported.manifest)
            (folder / MODEL).write_bytes(exported.onnx)
            write_manifest(folder, exported.manifest)

        return self.workshop.make("export", {**inputs, "licence": weights.licence}, work)

    def _frames(self) -> Output:
        settings = self.settings
        counts = {"count": settings.frames_count, "verification": settings.frames_verification, "seed": settings.seed}
        inputs = {**counts, "sources": [of_source(source) for source in settings.frames]}

        def work(folder: Path) -> None:
            folder.rmdir()  # `sample` makes it itself, complete or not at all
            trust = Trust(verify=settings.frames_verify, ca_file=settings.frames_ca_file)
            sample(settings.frames, folder, **counts, every_s=settings.frames_every_s, trust=trust)

        return self.workshop.make("frames", inputs, work)

    def _quantize(self, exported: Output, frames: Output) -> Output:
        settings = self.settings
        graphs = [MODEL_INT8, MODEL_INT8_CPU]
        inputs = {"export": exported.key, "frames": frames.key, "method": settings.calibration, "graphs": graphs}

        def work(folder: Path) -> None:
            before = _read_manifest(exported.folder)
            require_quantisable(before)
            # Shared by all runs: after a change of the method, the ranges of the last calibration may be used again.
            cache = self.workshop.root / CALIBRATION
            result = quantize(
                onnx.load(str(exported.folder / MODEL)),
                FrameSet.read(frames.folder),
                method=settings.calibration,
                cache=cache,
                threads=settings.threads,
            )
            if result.warning:
                self.workshop.say(f"{'quantize':<9} {result.warning}")
            for name, content in result.files(cache).items():
                (folder / name).write_bytes(content)
            manifest = dataclasses.replace(before, calibration=result.facts())
            write_manifest(folder, manifest)

        return self.workshop.make("quantize", inputs, work)

    def _patch(self, exported: Output, quantised: Output | None) -> Output:
        settings = self.settings
        source = quantised or exported
        typed = self.maker is not None and self.maker.typed and settings.precision != "fp32"
        inputs = {"model": source.key, "typed": typed, "min_confidence": settings.prenms_score_threshold}

        def work(folder: Path) -> None:
            manifest = _read_manifest(source.folder)
            model = onnx.load(str(source.folder / (MODEL_INT8 if quantised else MODEL)))
            models = engine_models(manifest, model, typed=typed, threshold=settings.prenms_score_threshold)
            save_engine_models(folder, models)
            write_manifest(folder, models.manifest)

        return self.workshop.make("patch", inputs, work)

    def _engine(self, patched: Output) -> Output:
        settings, maker = self.settings, _present(self.maker)
        order = {"precision": settings.precision, "batch": settings.batch, "workspace_mb": settings.workspace_mb}
        inputs = {"patch": patched.key, "machine": dict(maker.facts), **order}

        def work(folder: Path) -> None:
            record = build_engine(
                suited(maker, _read_manifest(patched.folder)),
                patched.folder,
                folder,
                precision=settings.precision,
                batch=(settings.batch[0], settings.batch[1], settings.batch[2]),
                workspace_mb=settings.workspace_mb,
            )
            (folder / ENGINE_RECORD).write_text(json.dumps(dataclasses.asdict(record)), "utf-8")

        return self.workshop.make("engine", inputs, work)

    def _bundle(self, exported: Output, quantised: Output | None, patched: Output, engine: Output | None) -> Output:
        settings = self.settings
        parts = {"export": exported, "quantize": quantised, "patch": patched, "engine": engine}
        inputs = {name: part.key for name, part in parts.items() if part is not None}

        def work(folder: Path) -> None:
            manifest = _read_manifest(patched.folder)
            files: dict[str, bytes | Path] = {MODEL: exported.folder / MODEL}
            plugin = patched.folder / PLUGIN_MODEL
            files |= {PLUGIN_MODEL: plugin} if plugin.is_file() else {}
            if quantised is not None:
                made = (quantised.folder / name for name in (MODEL_INT8, MODEL_INT8_CPU, CALIBRATION))
                files |= {path.name: path for path in made if path.is_file()}  # one that was pulled may lack some
            if engine is not None:
                files |= engine_files(engine.folder, _engine_record(engine.folder))
            manifest = dataclasses.replace(
                manifest,
                precision=settings.precision,
                engines=(_engine_record(engine.folder),) if engine is not None else (),
            )
            write_bundle(folder / _BUNDLE, manifest, files)

        return self.workshop.make("bundle", {**inputs, "precision": settings.precision}, work)

    def _verify(self, bundled: Output, frames: Output) -> Output:
        settings = self.settings
        gate = Gate(max_fall=settings.max_fall, min_f1=settings.min_f1, min_boxes=settings.min_boxes)
        inputs = {
            "bundle": bundled.key,
            "frames": frames.key,
            "gate": dataclasses.asdict(gate),
            "labelled": of_dataset(Path(settings.labelled)) if settings.labelled else "",
            "engine": self._runs_engine,
        }

        def work(folder: Path) -> None:
            bundle = Bundle.open(bundled.folder / _BUNDLE)
            spec = Path(settings.labelled) if settings.labelled else None
            files = verify_bundle(
                bundle,
                FrameSet.read(frames.folder),
                gate,
                labelled=spec,
                threads=settings.threads,
                device=settings.device if self._runs_engine else None,
            )
            for name, content in files.items():
                (folder / name).write_bytes(content)
            shutil.copytree(bundled.folder / _BUNDLE, folder / _BUNDLE)

        return self.workshop.make("verify", inputs, work)


def bundle_content(output: Output) -> tuple[Manifest, dict[str, bytes | Path]]:
    """Manifest and files (by name) of the bundle in the chain's last output; the report is among them.

    Raises:
        DataError: the report is damaged.
    """
    directory = output.folder / _BUNDLE
    manifest = Bundle.open(directory).manifest
    files: dict[str, bytes | Path] = {name: directory / name for name in manifest.files}
    reports = sorted(output.folder.glob("report*"))
    files |= {path.name: path for path in reports}
    if report := kept_report(output):
        manifest = dataclasses.replace(manifest, report=report.summary)
    return manifest, files


def kept_report(output: Output) -> Report | None:
    """The report of the verification that the chain ended with; None if it ended without one.

    Raises:
        DataError: the file is damaged.
    """
    path = output.folder / REPORT
    return read_kept(path, read_report) if path.exists() else None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Keep the manifest as far as a stage knows it, for the next."""
    (folder / _MANIFEST_PART).write_text(manifest.to_json(), "utf-8")


def _present(maker: EngineMaker | None) -> EngineMaker:
    if maker is None:
        raise DataError("no engine can be built on this machine")
    return maker


def _engine_record(folder: Path) -> EngineRecord:
    return read_kept(folder / ENGINE_RECORD, lambda text: EngineRecord.from_json(json.loads(text)))


def _read_manifest(folder: Path) -> Manifest:
    path = folder / _MANIFEST_PART
    return read_kept(path, lambda text: Manifest.from_json(text, where=str(path)))
