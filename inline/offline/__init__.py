"""Files of any kind that is read, through the pipeline, without a server."""
