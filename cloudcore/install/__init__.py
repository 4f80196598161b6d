"""Installing cloudcore into a cluster, for ``cloudcore init``."""
