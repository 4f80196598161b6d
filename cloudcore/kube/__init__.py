"""The API server as the rest of cloudcore sees it: raw objects, in and out."""
