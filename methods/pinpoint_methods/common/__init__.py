"""What several methods need; a method never imports another one."""
