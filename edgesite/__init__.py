"""One process at a site with an API server of its own: what cloudcore and edgecore do, together."""
