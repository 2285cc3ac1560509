"""What runs on the box: file formats, the decoder, and the engine. Imports neither TensorFlow nor `train`."""
