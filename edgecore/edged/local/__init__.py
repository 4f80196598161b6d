"""What people on this machine can see: logs, statistics, the local endpoint."""
