"""The node itself: its object and lease in the API, its pressures, and relief from them."""
