"""How quick an engine is: measured at a start or by `cocoon bench`, and watched while it works.

    workload  what is asked of the engine           (requests of random words, silence, ...)
    timeline  what one request's pieces came to     (pure)
    levels    what all levels of load come to       (pure)
    sweep     the shell: load upon load, until more brings nothing
    kept      what was measured, in the data folder, and whether it still holds
    machine   what it was measured on
    stopwatch what a paid request tells             (pure)
    drift     whether what is advertised still holds (pure)

Spec: inference/measuring.md.
"""
