"""DVC's plots as one HTML page that needs no network: the charts of `dvc plots show`, with Vega inside the page.

The page that `dvc plots show` writes loads its scripts from a content network, and stays blank without one.

    python -m tools.plots                # or: make plots
    python -m tools.plots main short     # the charts of both revisions, as `dvc plots diff` draws them
"""

import argparse
import base64
import json
import mimetypes
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from kinetoken.core.errors import UserError
from kinetoken.core.outputs import written_whole
from kinetoken.core.terminal import open_streams
from tools.smoke import environment

OUT = Path("dvc_plots/offline.html")
VEGA_LITE = "5.21"  # of the version that DVC's templates are written in
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
script-src 'unsafe-inline' 'unsafe-eval'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0 auto; padding: 16px; max-width: 1500px; font: 16px/1.5 system-ui, sans-serif; }}
main {{ display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }}
figure {{ margin: 0; padding: 10px 12px; max-width: 100%; box-sizing: border-box; overflow-x: auto; background: #fff; \
color: #1b2330; border: 1px solid #ccd3dc; border-radius: 10px; break-inside: avoid; }}
figure.picture {{ flex-basis: 100%; }}
figcaption {{ font-size: .9rem; }}
img {{ max-width: 100%; height: auto; display: block; }}
</style>
</head>
<body>
<h1>{title}</h1>
<main>
{figures}
</main>
<script>{vega}</script>
<script type="application/json" id="specs">{specs}</script>
<script>
const specs = JSON.parse(document.getElementById("specs").textContent);
const fit = svg => svg.width.baseVal.value <= 520 && Object.assign(svg.style, {{ maxWidth: "100%", height: "auto" }});
const draw = ([id, spec]) => vegaEmbed(document.getElementById(id), spec, {{ actions: false, renderer: "svg" }})
  .then(() => fit(document.querySelector("#" + id + " svg")))
  .catch(error => {{ document.getElementById(id).textContent = "not drawn: " + error.message; throw error; }});
Promise.allSettled(Object.entries(specs).map(draw)).then(all => {{
  const failed = all.filter(one => one.status === "rejected").length;
  document.documentElement.dataset.drawn = failed ? failed + " failed" : "all";
}});
</script>
</body>
</html>
"""


def collect(root: Path, revisions: Sequence[str], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Name → parts of each of DVC's plots, as `--json` has them; pictures are written into `folder`.

    Raises UserError with DVC's own message if it fails, or names a plot that it could not read.
    """
    action = ["diff", *revisions] if revisions else ["show"]
    program = str(Path(sys.executable).parent / "dvc")
    done = subprocess.run([program, "plots", *action, "--json", "-o", str(folder)], cwd=root, env=environment(),
                          capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"dvc plots {action[0]}: {' '.join(done.stderr.split())}")
    found = json.loads(done.stdout)
    for error in found.get("errors", []):
        print(f"not drawn: {error.get('name')} of {error.get('rev')}: {error.get('msg')}", file=sys.stderr)
    plots: dict[str, list[dict[str, Any]]] = found.get("data", {})
    if not any(plots.values()):
        raise UserError("DVC found no plots with data; run dvc repro first")
    return plots


def render(plots: dict[str, list[dict[str, Any]]], title: str) -> str:
    """The page: charts first, then pictures, in DVC's order. Text is escaped, also within the scripts."""
    import vl_convert

    bundle = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]  # its stub wants a snippet

    charts, pictures = list[str](), list[str]()
    specs: dict[str, Any] = {}
    for name, parts in plots.items():
        for part in parts:
            if part["type"] == "vega":
                specs[key := f"chart{len(specs)}"] = part["content"]
                charts.append(f'<figure class="chart" aria-label="{escape(name)}"><div id="{key}"></div></figure>')
            else:
                caption = f"{name} ({', '.join(map(str, part['revisions']))})"
                pictures.append(f'<figure class="picture"><figcaption>{escape(caption)}</figcaption>'
                                f'<img src="{_data_uri(Path(part["url"]))}" alt="{escape(name)}"></figure>')
    return PAGE.format(
        title=escape(title), figures="\n".join(charts + pictures),
        vega=bundle.replace("</script", "<\\/script"),
        specs=json.dumps(specs).replace("<", "\\u003c"),  # or a name in the data could end the script
    )


def _data_uri(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def main(argv: Sequence[str] | None = None) -> int:
    open_streams()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", metavar="REV", help="revisions to compare; default: the working tree")
    parser.add_argument("--out", type=Path, default=OUT, help=f"the page (default: {OUT})")
    options = parser.parse_args(argv)
    title = " and ".join(options.revisions) or "the working tree"
    try:
        with tempfile.TemporaryDirectory() as folder:
            page = render(collect(Path.cwd(), options.revisions, Path(folder)), f"Plots of {title}")
        with written_whole(options.out, force=True) as partial:
            partial.write_text(page, encoding="utf-8")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(options.out.resolve().as_uri())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
