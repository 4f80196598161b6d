"""Static pods: manifests in a folder, and their mirrors in the API."""
