"""What has to be there on Google Cloud, and how to mend what is not."""
