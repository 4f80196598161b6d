"""An API server where nobody listens."""

from pathlib import Path
from typing import Final

NOBODY: Final = "http://127.0.0.1:1"

_KUBECONFIG: Final = f"""
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{NOBODY}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""


def kubeconfig_of_nobody(folder: Path) -> Path:
    """Return a kubeconfig in ``folder`` that names it."""
    path = folder / "nobody.kubeconfig"
    path.write_text(_KUBECONFIG)
    return path
