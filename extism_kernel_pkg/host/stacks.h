// What tells the size of a thread's stack, on Linux, macOS and Windows; none has all of these.
// `stacks_table.py` is made from this by `python -m build_tools campaign host-tables`.

unsigned long pthread_self(void);
int pthread_getattr_np(unsigned long thread, void *attributes);
int pthread_attr_getstacksize(void *attributes, size_t *size);
int pthread_attr_destroy(void *attributes);

size_t pthread_get_stacksize_np(unsigned long thread);

void GetCurrentThreadStackLimits(size_t *low, size_t *high);
