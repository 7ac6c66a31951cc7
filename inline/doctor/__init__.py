"""``myostream doctor``: checks of this host, in plain words."""
