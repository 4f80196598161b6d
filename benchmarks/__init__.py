"""The figures that this project promises, measured on this machine: ``make bench``."""
