"""What Prometheus and Grafana need to know of cloudedge."""
