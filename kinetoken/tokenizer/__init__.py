"""The video tokenizer: clips to discrete codes and back."""
