"""``myostream doctor``: examination of this host, in plain words."""
