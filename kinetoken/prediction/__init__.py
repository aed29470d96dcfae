"""From the codes of the past to the frames that follow, held against floors and an oracle."""
