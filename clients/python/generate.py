"""Makes the clients from the servers' own descriptions: `python generate.py`."""

import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
DOCUMENTS = {"aggregator_api": "openapi.json", "edge_api": "openapi-edge.json"}
# It would run formatters over what it makes, and knows metrics and XML as text alone.
AS_TEXT = "{application/openmetrics-text: text/plain, application/xml: text/plain}"
SETTINGS = f"post_hooks: []\ncontent_type_overrides: {AS_TEXT}\n"

with tempfile.NamedTemporaryFile("w", suffix=".yml") as settings:
    settings.write(SETTINGS)
    settings.flush()
    for name, document in DOCUMENTS.items():
        made = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--overwrite"]
        made += ["--fail-on-warning", "--config", settings.name]
        made += ["--path", str(HERE / "../../docs" / document)]
        made += ["--output-path", str(HERE / "src/palveron_meter" / name)]
        subprocess.run(made, check=True)
