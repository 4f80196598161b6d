"""What it takes to run cloudedge somewhere."""
