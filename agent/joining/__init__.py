"""Events of more than one line: stack traces by pattern, records that a container runtime has cut by its format."""
