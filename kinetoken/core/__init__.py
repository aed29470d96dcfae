"""What every stage stands on: params, progress, outputs that appear whole or not at all."""
