"""Training, on synthetic slices or on a site's own labelled cases."""
