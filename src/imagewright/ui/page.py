"""The page itself: a script that Streamlit runs from top to bottom at every click."""

import os
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from imagewright.errors import DataError, ImagewrightError
from imagewright.ui import API
from imagewright.ui.charts import MOST_BARS, bars, bars_in_words, legend, percent, plain, said
from imagewright.ui.client import DEFAULT, Answer, Api, ApiError, Served
from imagewright.ui.overlay import UNSEEN, areas, blended, placed
from imagewright.ui.pictures import Look, Picture, examples, look, thumbnail

KEY = "IMAGEWRIGHT_API_KEY"
EXAMPLES = "IMAGEWRIGHT_EXAMPLES"
THUMBNAIL = 160
FEATURES_HELP = (
    "As the model sees the picture. Brightness and contrast: mean and standard deviation of the grey values, 0 to 1. "
    "Sharpness: variance of their Laplacian. Time: from the question to the answer."
)


@dataclass(frozen=True)
class Seen:
    """A picture that was asked about: what it looks like and what the model says."""

    look: Look
    answer: Answer


@dataclass(frozen=True)
class Settings:
    """What the sliders say."""

    threshold: float = 0.0
    opacity: float = 0.5


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="Imagewright", layout="wide")
    st.title("Imagewright", anchor=False)
    api = _api(os.environ.get(API) or DEFAULT, os.environ.get(KEY, "").strip())
    served = _served(api)
    pictures = _chosen()
    if served is None:
        return
    settings = _settings(served)
    _about(api, served)
    if pictures:
        _answers(api, served, pictures, settings)


@st.cache_resource
def _api(url: str, key: str) -> Api:
    return Api(url, key or None)


def _served(api: Api) -> Served | None:
    """What is served now; where nothing answers, that is said at the top, and what was chosen stays chosen."""
    try:
        bundle = api.bundle()
        known: Served | None = st.session_state.get("served")
        if known is None or known.bundle != bundle:
            known = st.session_state["served"] = api.served()
        return known
    except ApiError as error:
        # What is served when it answers again may be something else.
        for name in ("served", "seen"):
            st.session_state.pop(name, None)
        _problem(error)
        st.button("Try again", type="primary")
        return None


def _chosen() -> list[Picture]:
    folder = os.environ.get(EXAMPLES)
    sources = ["Files", "Camera", *(["Examples"] if folder else [])]
    source = st.radio("Where the picture comes from", sources, horizontal=True)
    if source == "Files":
        files = st.file_uploader(
            "Drop a picture or several here, or choose them", accept_multiple_files=True, key="files"
        )
        return [Picture(file.name, file.getvalue()) for file in files]
    if source == "Camera":
        taken = st.camera_input("Take a picture", key="camera")
        return [Picture("camera", taken.getvalue())] if taken else []
    return _example(Path(str(folder)))


def _example(folder: Path) -> list[Picture]:
    try:
        found = examples(folder)
    except DataError as error:
        _problem(error)
        return []
    for column, picture in zip(st.columns(len(found)), found, strict=True):
        with column:
            try:
                st.image(thumbnail(picture.content, THUMBNAIL), output_format="PNG", alt=f"Example {picture.name}")
            except DataError as error:
                _problem(error)
                continue
            if st.button(f"Use {plain(picture.name)}", key=f"example {picture.name}"):
                st.session_state["example"] = picture.name
    return [picture for picture in found if picture.name == st.session_state.get("example")]


def _settings(served: Served) -> Settings:
    with st.sidebar:
        st.header("Settings", anchor=False)
        if served.task == "classification":
            threshold = st.slider(
                "Unsure below", 0.0, 1.0, 0.0, 0.01, key="threshold", persist_state="session",
                help="Where the best probability is below this, the answer is: unsure. 0 switches it off.",
            )  # fmt: skip
            return Settings(threshold=threshold)
        opacity = st.slider(
            "Opacity of the mask", 0.0, 1.0, 0.5, 0.05, key="opacity", persist_state="session",
            help="0 shows the picture alone.",
        )  # fmt: skip
        return Settings(opacity=opacity)


def _about(api: Api, served: Served) -> None:
    told = {
        "Experiment": served.experiment or "none: no gate has judged this model",
        "Bundle": served.bundle,
        "Task": served.task,
        "Runtime": served.runtime,
        "Input": f"{served.input.width} × {served.input.height} pixels, {served.input.colour}",
    }
    if served.metric and served.interval:
        value, low, high = served.interval
        told[f"{served.metric.capitalize()} on test"] = f"{value:.3f} ({low:.3f} to {high:.3f}), n = {served.n}"
    told["Backend"] = api.url
    with st.sidebar:
        st.header("Model", anchor=False)
        st.markdown("  \n".join(f"{plain(name)}: **{plain(value)}**" for name, value in told.items()))


def _answers(api: Api, served: Served, pictures: list[Picture], settings: Settings) -> None:
    # Kept one by one: a click in between starts the script anew.
    known: dict[tuple[str, str], Seen] = st.session_state.setdefault("seen", {})
    for picture in pictures:
        place = (served.bundle, picture.digest)
        with st.container(border=True):
            st.subheader(plain(picture.name), anchor=False)
            try:
                if place not in known:
                    with st.spinner("Asking the model"):
                        known[place] = _ask(api, served, picture)
            except ImagewrightError as error:
                _problem(error)
            else:
                _card(served, picture, known[place], settings)
    on_page = {(served.bundle, picture.digest) for picture in pictures}
    for place in known.keys() - on_page:
        del known[place]


def _ask(api: Api, served: Served, picture: Picture) -> Seen:
    # Asked first: what is wrong with a picture is for the API to say.
    answer = api.predict(served, picture.name, picture.content)
    return Seen(look(picture.content, served.input, served.max_pixels), answer)


def _card(served: Served, picture: Picture, seen: Seen, settings: Settings) -> None:
    left, right = st.columns([2, 3], gap="medium")
    if seen.answer.mask is None:
        left.image(seen.look.shown, output_format="PNG", alt=f"The picture {picture.name}")
        with right:
            _label(served, seen.answer, settings.threshold)
    else:
        height, width = seen.look.shown.shape[:2]
        indices = placed(seen.answer.mask, height, width, served.input.fit)
        shares = areas(seen.answer.mask, len(served.names), height, width, served.input.fit)
        overlay = blended(seen.look.shown, indices, settings.opacity)
        left.image(overlay, output_format="PNG", alt=f"The picture {picture.name} with its mask")
        with right:
            st.html(legend(served.names, shares))
            if (indices == UNSEEN).any():
                st.caption("Dark: cut off before the model saw the picture.")
    features = {name: f"{value:.3g}" for name, value in seen.look.features.items()}
    told = [f"{seen.look.width} × {seen.look.height} pixels", *(f"{name} {value}" for name, value in features.items())]
    st.caption(f"{' · '.join(map(plain, told))} · answered in {seen.answer.seconds * 1000:.0f} ms", help=FEATURES_HELP)


def _label(served: Served, answer: Answer, threshold: float) -> None:
    assert answer.probabilities is not None
    best = int(answer.probabilities.argmax())
    name, confidence = served.names[best], float(answer.probabilities[best])
    unsure = confidence < threshold
    st.html(said({"Label": "unsure" if unsure else name, "Confidence": percent(confidence)}))
    if unsure:
        st.write(f"The confidence is below {threshold:.2f}. Most probable: {plain(name)}.")
    ink = "white" if st.context.theme.type == "dark" else "black"
    st.vega_lite_chart(
        spec=bars(served.names, answer.probabilities, ink),
        width="stretch",
        alt=bars_in_words(served.names, answer.probabilities),
    )
    if len(served.names) > MOST_BARS:
        st.caption(f"The {MOST_BARS} most probable of {len(served.names)} classes.")


def _problem(error: ImagewrightError) -> None:
    st.error(f"{_sentence(error.problem)}  \n{_sentence(error.remedy)}")


def _sentence(text: str) -> str:
    return plain(text[:1].upper() + text[1:])


if __name__ == "__main__":
    main()
