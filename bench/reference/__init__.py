"""Reference implementations that measurements compare with."""
