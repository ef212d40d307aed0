"""Which pixels, frames, sounds and words the methods' answers rest on."""
