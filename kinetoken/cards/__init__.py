"""Model cards and a dataset card about a run, in the form of the Hugging Face Hub, made from what its stages left."""
