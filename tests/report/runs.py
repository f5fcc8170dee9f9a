"""Folders as runs leave them, for the report to draw: small ones, and one of everything."""

from __future__ import annotations

import datetime
import io
import json
import math
import random
from typing import TYPE_CHECKING, Any

from dvclive_dvc.backend import Artifact, Entries, Mode, Outcome, Plot, Run, Status
from dvclive_dvc.layout import Layout
from dvclive_dvc.report import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Each would do harm where it is put into the page as it is.
MARKUP = (
    "</script><script>window.hurt = 1</script>",
    "<img src=x onerror='window.hurt = 2'>",
    "<!-- <script>",
    "a\"b'c`d",
    "${window.hurt = 3}",
    "loss[0].x\\y",
    "datum['rev'] + '",
    "\u2028 line \u2029 separators \u202e reversed",
    "&lt;b&gt; &amp;",
    "@x@",
    "__proto__",
    "__part",
    "constructor",
    "\U0001f600 \u0645\u0631\u062d\u0628\u0627",
)


def facts(layout: Layout, *, plots: list[Plot] | None = None, **more: Any) -> Facts:
    """Facts of a run on which nothing special is known."""
    told: dict[str, Any] = {
        "run": Run(name="olive-heron", baseline="4f2a9c" + "0" * 34, mode=Mode.STANDALONE),
        "entries": Entries(plots=tuple(plots or ())),
        "started": datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=90),
        "step": 3,
        "outcome": Outcome(Status.COMPLETED),
    }
    return Facts(**{**told, **more})


def put_metric(layout: Layout, name: str, values: list[Any], *, start: int = 0) -> Path:
    """A metric's file with one row a step."""
    path = layout.metrics_dir / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{step}\t{value}\n" for step, value in enumerate(values, start))
    path.write_text(f"step\t{name.rpartition('/')[2]}\n{rows}", encoding="utf-8")
    return path


def put_plot(layout: Layout, name: str, rows: Any, kind: str = "custom", **config: Any) -> Plot:
    """A custom or scikit-learn plot's file and its entry."""
    folder = layout.custom_dir if kind == "custom" else layout.sklearn_dir
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    return Plot(path, config)


def png(width: int, height: int, seed: int = 0) -> bytes:
    """A picture of coloured blobs."""
    from PIL import Image, ImageDraw

    chance = random.Random(seed)
    image = Image.new("RGB", (width, height), tuple(chance.randrange(30, 90) for _ in "rgb"))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = chance.random() * width, chance.random() * height, width * chance.random() / 4
        color = tuple(chance.randrange(90, 255) for _ in "rgb")
        draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def put_image(layout: Layout, name: str, data: bytes) -> Path:
    """An image's file."""
    path = layout.images_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _curve(steps: int, seed: int, noise: float) -> list[Any]:
    chance = random.Random(seed)
    scale = 3.0 + seed / 4
    return [
        round(0.1 + scale * math.exp(-5 * i / steps) * (1 + noise * chance.gauss(0, 1)), 6)
        for i in range(steps)
    ]


NAMES = (
    "train/loss", "train/accuracy", "train/grad_norm", "val/loss", "val/accuracy", "val/f1",
    "learning_rate", "throughput",
)  # fmt: skip
PLAIN = ("test/loss", "test/accuracy", "system/cpu", "system/ram")


def file_name(text: str) -> str:
    """A name with markup in it as one part of a path."""
    return text.replace("/", "-")


def rich(
    root: Path, *, steps: int = 100_000, images: int = 200, markup: bool = True
) -> tuple[Layout, Facts]:
    """Twelve metrics, images, all kinds of plots, tables; with `markup`, names that bite."""
    layout = Layout.at(root)
    odd = [f"odd/{file_name(text)}" for text in MARKUP[:4]]
    _put_metrics(layout, [*NAMES, *(odd if markup else PLAIN)], steps)
    params = {
        "optimizer": {"name": "adamw", "lr": 0.0003, "betas": [0.9, 0.999]},
        "epochs": 40,
        "batch_size": 256,
        "amp": True,
        "resume_from": None,
        "note": MARKUP[0] if markup else "a first try",
    }
    layout.params_file.write_text(json.dumps(params), encoding="utf-8")
    _put_images(layout, images, MARKUP[1] if markup else "architecture")
    plots = [*_sklearn_plots(layout), *_custom_plots(layout)]
    if markup:
        plots += _odd_plots(layout)
    model = Artifact(root.parent / "model.pt", type="model", desc="Best by validation loss")
    words = Artifact(root.parent / "vocab.json", desc=MARKUP[1] if markup else None)
    name = MARKUP[1] if markup else "olive-heron"
    told = facts(
        layout,
        run=Run(name=name, baseline="4f2a9c1" + "0" * 33, saves=True),
        entries=Entries(
            plots=(Plot(layout.metrics_dir, {"x": "step"}), Plot(layout.images_dir), *plots),
            artifacts={"mymodel": model, "vocabulary": words},
        ),
        step=steps - 1,
        started=datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=192),
    )
    return layout, told


def _put_metrics(layout: Layout, names: list[str], steps: int) -> None:
    summary: dict[str, Any] = {"step": steps - 1}
    for seed, name in enumerate(names):
        values = _curve(steps, seed, 0.02 + 0.03 * (seed % 3))
        if "accuracy" in name or "f1" in name:
            values = [round(1 - value / 5, 6) for value in values]
        if name == "train/grad_norm":
            hole = steps // 50
            values[steps // 3 : steps // 3 + hole] = ["nan"] * hole
            values[steps // 2] = "inf"
            values[steps // 4] = 9.5
        put_metric(layout, name, values)
        folder = summary
        *parents, last = name.split("/")
        for parent in parents:
            folder = folder.setdefault(parent, {})
        folder[last] = values[-1]
    layout.metrics_file.write_text(json.dumps(summary), encoding="utf-8")


def _put_images(layout: Layout, images: int, odd: str) -> None:
    small = [png(50, 50, seed) for seed in range(20)]
    for i in range(images - 12):
        put_image(layout, f"samples/{'train' if i % 2 else 'val'}/{i // 2}.png", small[i % 20])
    for i, animal in enumerate(ANIMALS):
        put_image(layout, f"predictions/{animal}.png", png(320, 240, i))
    put_image(layout, f"{file_name(odd)}.png", png(640, 360, 99))


CLASSES = ("cat", "dog", "bird", "fox")
ANIMALS = (*CLASSES, "owl", "ape", "bee", "cow", "eel", "emu", "hen")


def _sklearn_plots(layout: Layout) -> Iterator[Plot]:
    chance = random.Random(7)
    matrix = []
    for actual in CLASSES:
        for _ in range(60):
            guess = actual if chance.random() < 0.8 else chance.choice(CLASSES)
            matrix.append({"actual": actual, "predicted": guess})
    words = {"x": "actual", "y": "predicted", "x_label": "True Label", "y_label": "Predicted Label"}
    for template in ("confusion", "confusion_normalized"):
        title = "Confusion Matrix" + template.removeprefix("confusion").replace("_", ", ")
        yield put_plot(layout, template, matrix, "sklearn", template=template, title=title, **words)
    rates = [i / 200 for i in range(201)]
    curves: dict[str, tuple[str, str, str, Any]] = {
        "roc": ("fpr", "tpr", "Receiver operating characteristic (ROC)", lambda r: r**0.25),
        "precision_recall": ("recall", "precision", "Precision-Recall", lambda r: 1 - r**4 * 0.7),
        "det": ("fpr", "fnr", "Detection error tradeoff (DET)", lambda r: (1 - r) ** 4),
        "calibration": ("prob_pred", "prob_true", "Calibration", lambda r: r**1.3),
    }
    for kind, (x, y, title, curve) in curves.items():
        # scikit-learn's first threshold is infinite, and is written so.
        rows = [{x: r, y: curve(r), "threshold": 1 - r if r else math.inf} for r in rates]
        yield put_plot(
            layout, kind, {kind: rows}, "sklearn", template="simple", x=x, y=y, title=title
        )


def _custom_plots(layout: Layout) -> Iterator[Plot]:
    chance = random.Random(8)
    data: dict[str, tuple[str, str, Any, str, list[dict[str, Any]]]] = {
        "clusters": ("scatter", "pca 1", "pca 2", "Embedding", [
            {"pca 1": chance.gauss(c, 0.6), "pca 2": chance.gauss(-c, 0.8)}
            for c in (0, 2, 4) for _ in range(120)
        ]),
        "jitter": ("scatter_jitter", "class", "grade", "Grades by class", [
            {"class": chance.choice(CLASSES), "grade": chance.choice("ABCD")} for _ in range(200)
        ]),
        "importance": ("bar_horizontal_sorted", "gain", "feature", "Feature importance", [
            {"feature": f"feature {i}", "gain": round(chance.random() ** 2 * 10, 3)}
            for i in range(9)
        ]),
        "per_class": ("bar_horizontal", "recall", "name", "Recall by class", [
            {"name": c, "recall": 0.4 + chance.random() / 2} for c in CLASSES
        ]),
        "quantiles": ("linear", "hour", ["p50", "p90", "p99"], "Latency quantiles", [
            {"hour": i, "p50": 20 + 5 * math.sin(i / 4), "p90": 32 + 8 * math.sin(i / 4),
             "p99": 50 + 12 * math.sin(i / 4 + 1)} for i in range(48)
        ]),
        "smooth": ("smooth", "t", "v", "Drift", [
            {"t": i, "v": math.sin(i / 9) + chance.gauss(0, 0.2)} for i in range(120)
        ]),
    }  # fmt: skip
    for name, (template, x, y, title, rows) in data.items():
        yield put_plot(layout, name, rows, template=template, x=x, y=y, title=title)


def _odd_plots(layout: Layout) -> Iterator[Plot]:
    for i, text in enumerate(MARKUP):
        rows = [{text: x, f"{text}!": x * x} for x in range(9)]
        yield put_plot(
            layout,
            f"odd {i}",
            rows,
            template="simple" if i % 2 else "linear",
            x=text,
            y=f"{text}!",
            title=text,
            x_label=text,
            y_label=text,
        )
