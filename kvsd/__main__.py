"""Run ``twistd`` as ``python -m kvsd``, with SIGTERM obeyed from before Twisted is there: the program of the image."""

from kvsd.early_exit import end_at_once_on_sigterm

if __name__ == "__main__":
    end_at_once_on_sigterm()
    from twisted.scripts.twistd import run

    run()
