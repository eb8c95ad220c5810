/* The server of the peer benches, on open62541: the same work for every client.
 *
 *   server PORT TAGS PERIOD_MS LOOPS PAUSE_MIN_MS PAUSE_MAX_MS
 *
 * - TAGS Doubles "T0".. of namespace urn:trimloop:bench all get a new value every PERIOD_MS.
 * - With LOOPS > 0 the server changes X (and PartId) and waits for the client's write of Y; then
 *   pauses and changes X again. Times are taken here, around the client, on one clock.
 * - Publishing is granted from 1 ms on; sampling is by change.
 *
 * Answers on standard output: one line "ready", then on standard input "go" begins the loops,
 * "stats" tells how many rounds of values were written, end of input ends the server. When the
 * loops are done: "loops p50_us p90_us p99_us max_us n lost".
 */
#include <open62541/plugin/log_stdout.h>
#include <open62541/server.h>
#include <open62541/server_config_default.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static UA_Server *server;
static UA_UInt16 ns;
static int tags, loops;
static double period_ms, pause_min_ms, pause_max_ms;
static unsigned long rounds;
static UA_NodeId *ids, x_id, part_id, y_id;

static double *times_us;
static int done, lost, part;
static int waiting;
static double changed_us;
static unsigned long long seed = 88172645463325252ull;

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double random_unit(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed % 100000) / 100000.0;
}

static UA_NodeId add(const char *name, const UA_DataType *type, void *value, int writable) {
    UA_VariableAttributes attributes = UA_VariableAttributes_default;
    attributes.displayName = UA_LOCALIZEDTEXT("en", (char *)name);
    attributes.dataType = type->typeId;
    attributes.accessLevel = UA_ACCESSLEVELMASK_READ;
    if(writable)
        attributes.accessLevel |= UA_ACCESSLEVELMASK_WRITE;
    UA_Variant_setScalar(&attributes.value, value, type);
    UA_NodeId id = UA_NODEID_STRING_ALLOC(ns, name);
    UA_StatusCode status = UA_Server_addVariableNode(
        server, id, UA_NS0ID(OBJECTSFOLDER), UA_NS0ID(ORGANIZES), UA_QUALIFIEDNAME(ns, (char *)name),
        UA_NS0ID(BASEDATAVARIABLETYPE), attributes, NULL, NULL);
    if(status != UA_STATUSCODE_GOOD) {
        fprintf(stderr, "cannot add %s: %s\n", name, UA_StatusCode_name(status));
        exit(1);
    }
    return id;
}

static void put(UA_NodeId id, void *value, const UA_DataType *type, UA_DateTime stamp) {
    UA_DataValue data;
    UA_DataValue_init(&data);
    UA_Variant_setScalar(&data.value, value, type);
    data.hasValue = true;
    data.hasSourceTimestamp = true;
    data.sourceTimestamp = stamp;
    UA_StatusCode status = UA_Server_writeDataValue(server, id, data);
    if(status != UA_STATUSCODE_GOOD) {
        fprintf(stderr, "cannot set a value: %s\n", UA_StatusCode_name(status));
        exit(1);
    }
}

static void stream(UA_Server *s, void *context) {
    (void)s;
    (void)context;
    rounds++;
    UA_Double value = (double)rounds;
    UA_DateTime stamp = UA_DateTime_now();
    for(int i = 0; i < tags; i++)
        put(ids[i], &value, &UA_TYPES[UA_TYPES_DOUBLE], stamp);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(void) {
    qsort(times_us, (size_t)done, sizeof(double), ascending);
    double p50 = times_us[done / 2], p90 = times_us[(int)(done * 0.9)];
    double p99 = times_us[(int)(done * 0.99)];
    printf("loops %.1f %.1f %.1f %.1f %d %d\n", p50, p90, p99, times_us[done - 1], done, lost);
    fflush(stdout);
}

static UA_UInt64 pending;

static void change(UA_Server *s, void *context) {
    (void)s;
    (void)context;
    part++;
    /* Before its first answer a client may not know enough yet: trimloop acts on no part that began
     * before it looked. */
    if(waiting && done > 0)
        lost++;
    UA_Double x = part % 2 ? 2.0 : -2.0;
    UA_Int32 number = part;
    UA_DateTime stamp = UA_DateTime_now();
    changed_us = now_us();
    waiting = 1;
    put(x_id, &x, &UA_TYPES[UA_TYPES_DOUBLE], stamp);
    put(part_id, &number, &UA_TYPES[UA_TYPES_INT32], stamp);
    /* A client that does not answer within a second loses this one. */
    UA_Server_addTimedCallback(server, change, NULL,
                               UA_DateTime_nowMonotonic() + 1000 * UA_DATETIME_MSEC, &pending);
}

static void later(void) {
    double pause = pause_min_ms + random_unit() * (pause_max_ms - pause_min_ms);
    UA_Server_removeCallback(server, pending);
    UA_Server_addTimedCallback(server, change, NULL,
                               UA_DateTime_nowMonotonic() + (UA_Int64)(pause * UA_DATETIME_MSEC),
                               &pending);
}

static void written(UA_Server *s, const UA_NodeId *session, void *session_context,
                    const UA_NodeId *node, void *node_context, const UA_NumericRange *range,
                    const UA_DataValue *value) {
    (void)s, (void)session, (void)session_context, (void)node, (void)node_context, (void)range,
        (void)value;
    if(!waiting || done >= loops)
        return;
    waiting = 0;
    times_us[done++] = now_us() - changed_us;
    if(done == loops) {
        UA_Server_removeCallback(server, pending);
        report();
    } else {
        later();
    }
}

int main(int argc, char **argv) {
    if(argc != 7) {
        fprintf(stderr, "usage: server PORT TAGS PERIOD_MS LOOPS PAUSE_MIN_MS PAUSE_MAX_MS\n");
        return 2;
    }
    tags = atoi(argv[2]);
    period_ms = atof(argv[3]);
    loops = atoi(argv[4]);
    pause_min_ms = atof(argv[5]);
    pause_max_ms = atof(argv[6]);
    ids = calloc((size_t)tags + 1, sizeof(UA_NodeId));
    times_us = calloc((size_t)loops + 1, sizeof(double));

    server = UA_Server_new();
    UA_ServerConfig *config = UA_Server_getConfig(server);
    UA_ServerConfig_setMinimal(config, (UA_UInt16)atoi(argv[1]), NULL);
    /* This machine only. */
    char url[64];
    snprintf(url, sizeof url, "opc.tcp://127.0.0.1:%s", argv[1]);
    UA_Array_delete(config->serverUrls, config->serverUrlsSize, &UA_TYPES[UA_TYPES_STRING]);
    config->serverUrls = UA_Array_new(1, &UA_TYPES[UA_TYPES_STRING]);
    config->serverUrls[0] = UA_STRING_ALLOC(url);
    config->serverUrlsSize = 1;
    config->publishingIntervalLimits.min = 1.0;
    config->samplingIntervalLimits.min = 0.0;
    config->queueSizeLimits.max = 1000;
    config->maxNotificationsPerPublish = 100000;
    config->tcpMaxMsgSize = 0;
    ns = UA_Server_addNamespace(server, "urn:trimloop:bench");

    UA_Double zero = 0.0, fifty = 50.0;
    UA_Int32 none = 0;
    UA_Boolean yes = true;
    char name[32];
    for(int i = 0; i < tags; i++) {
        snprintf(name, sizeof name, "T%d", i);
        ids[i] = add(name, &UA_TYPES[UA_TYPES_DOUBLE], &zero, 0);
    }
    x_id = add("X", &UA_TYPES[UA_TYPES_DOUBLE], &zero, 0);
    part_id = add("PartId", &UA_TYPES[UA_TYPES_INT32], &none, 0);
    y_id = add("Y", &UA_TYPES[UA_TYPES_DOUBLE], &fifty, 1);
    add("Ready", &UA_TYPES[UA_TYPES_BOOLEAN], &yes, 0);
    UA_ValueSourceNotifications callback = {NULL, written};
    UA_Server_setVariableNode_valueCallback(server, y_id, callback);

    if(UA_Server_run_startup(server) != UA_STATUSCODE_GOOD) {
        fprintf(stderr, "the server cannot listen on port %s\n", argv[1]);
        return 1;
    }
    if(period_ms > 0 && tags > 0)
        UA_Server_addRepeatedCallback(server, stream, NULL, period_ms, NULL);
    printf("ready\n");
    fflush(stdout);
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    char line[64];
    for(;;) {
        UA_Server_run_iterate(server, true);
        ssize_t got = read(STDIN_FILENO, line, sizeof line - 1);
        if(got == 0)
            break;
        if(got > 0) {
            line[got] = 0;
            if(strstr(line, "go") && loops > 0)
                later();
            if(strstr(line, "stats")) {
                printf("rounds %lu\n", rounds);
                fflush(stdout);
            }
        }
    }
    UA_Server_run_shutdown(server);
    UA_Server_delete(server);
    return 0;
}
