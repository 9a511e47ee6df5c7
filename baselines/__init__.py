"""Methods to compare with. Each is one file that fills the interface `patchvsr.upscaler.Upscaler`."""
