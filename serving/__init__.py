"""The Ray Serve application: photographs in over HTTP, restored and colorized photographs out."""
