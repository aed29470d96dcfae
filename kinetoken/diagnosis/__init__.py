"""Where in the chain pixels → latents → codes → pooled codes the motion was lost, and why."""
