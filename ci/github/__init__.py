"""What only workflows need to know or decide; pipeline/ knows nothing of them."""
