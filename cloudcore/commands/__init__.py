"""The commands of cloudcore besides ``run``: each is short-lived, and asks the API server."""
