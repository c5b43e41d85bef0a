"""The only SQL of the product: every module here takes a `Tx`, and every read of patient data a `Viewer`."""
