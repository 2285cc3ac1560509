"""The box as a service of systemd: its units, how they are installed, and how the box is switched off."""
