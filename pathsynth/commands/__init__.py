"""The commands, one file for each kind of story: config commands are Hydra applications, file commands take paths."""
