"""The executors: one executor, one file, which names its class ``EXECUTOR``; the file's name is the executor's."""
