"""From notes to a trained decoder: NSynth's formats, the WaveNet autoencoder, the student and its distillation."""
