"""Patterns of whole formats for `grok`, with Logstash's names for them and for their attributes. [pure]"""

from __future__ import annotations

_STAMP = r"(?:%{SYSLOGTIMESTAMP:timestamp}|%{TIMESTAMP_ISO8601:timestamp8601})"
_REQUEST = r"%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest}"

_HAPROXY_STAMP = (
    r"(?:%{SYSLOGTIMESTAMP:syslog_timestamp}|%{TIMESTAMP_ISO8601:timestamp8601}) "
    r"%{IPORHOST:syslog_server} %{SYSLOGPROG}: "
)
_HAPROXY_ROUTE = (
    r"%{IP:client_ip}:%{INT:client_port} \[%{HAPROXYDATE:accept_date}\] %{NOTSPACE:frontend_name} "
    r"%{NOTSPACE:backend_name}/%{NOTSPACE:server_name} "
)
_HAPROXY_QUEUES = (
    r"%{INT:actconn}/%{INT:feconn}/%{INT:beconn}/%{INT:srvconn}/%{NOTSPACE:retries} "
    r"%{INT:srv_queue}/%{INT:backend_queue}"
)

_SYSLOG = {
    "SYSLOGBASE": r"%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:",
    "SYSLOGBASE2": rf"{_STAMP} (?:%{{SYSLOGFACILITY}} )?%{{SYSLOGHOST:logsource}}(?: %{{SYSLOGPROG}}:|)",
    "SYSLOGLINE": r"%{SYSLOGBASE2} %{GREEDYDATA:message}",
    "SYSLOGPAMSESSION": (
        r"%{SYSLOGBASE} %{WORD:pam_module}\(%{DATA:pam_caller}\): session %{WORD:pam_session_state} for user "
        r"%{USERNAME:username}(?: by %{GREEDYDATA:pam_by})?"
    ),
    "CRON_ACTION": r"[A-Z ]+",
    "CRONLOG": r"%{SYSLOGBASE} \(%{USER:user}\) %{CRON_ACTION:action} \(%{DATA:message}\)",
    "SYSLOG5424PRINTASCII": r"[!-~]+",
    "SYSLOG5424PRI": r"<%{NONNEGINT:syslog5424_pri}>",
    "SYSLOG5424SD": r"(?:\[(?:[^\]\"]|\"(?:[^\"\\]|\\.)*\")*\])+",
    "SYSLOG5424BASE": (
        r"%{SYSLOG5424PRI}%{NONNEGINT:syslog5424_ver} +(?:-|%{TIMESTAMP_ISO8601:syslog5424_ts}) "
        r"+(?:-|%{IPORHOST:syslog5424_host}) +(?:-|%{SYSLOG5424PRINTASCII:syslog5424_app}) "
        r"+(?:-|%{SYSLOG5424PRINTASCII:syslog5424_proc}) +(?:-|%{SYSLOG5424PRINTASCII:syslog5424_msgid}) "
        r"+(?:-|%{SYSLOG5424SD:syslog5424_sd})"
    ),
    "SYSLOG5424LINE": r"%{SYSLOG5424BASE} +%{GREEDYDATA:syslog5424_msg}",
}

_WEB = {
    "HTTPD_COMMONLOG": (
        r"%{IPORHOST:clientip} %{HTTPDUSER:ident} %{HTTPDUSER:auth} \[%{HTTPDATE:timestamp}\] "
        rf"\"(?:{_REQUEST})\" (?:-|%{{NUMBER:response}}) (?:-|%{{NUMBER:bytes}})"
    ),
    "HTTPD_COMBINEDLOG": r"%{HTTPD_COMMONLOG} %{QS:referrer} %{QS:agent}",
    "COMMONAPACHELOG": r"%{HTTPD_COMMONLOG}",
    "COMBINEDAPACHELOG": r"%{HTTPD_COMBINEDLOG}",
    "HTTPD20_ERRORLOG": (
        r"\[%{HTTPDERROR_DATE:timestamp}\] \[%{LOGLEVEL:loglevel}\] (?:\[client %{IPORHOST:clientip}\] )?%{GREEDYDATA:message}"
    ),
    "HTTPD24_ERRORLOG": (
        r"\[%{HTTPDERROR_DATE:timestamp}\] \[(?:%{WORD:module})?:%{LOGLEVEL:loglevel}\] "
        r"\[pid %{POSINT:pid}(?::tid %{NUMBER:tid})?\](?: \(%{POSINT:proxy_errorcode}\)%{DATA:proxy_message}:)?"
        r"(?: \[client %{IPORHOST:clientip}:%{POSINT:clientport}\])?(?: %{DATA:errorcode}:)? %{GREEDYDATA:message}"
    ),
    "HTTPD_ERRORLOG": r"%{HTTPD20_ERRORLOG}|%{HTTPD24_ERRORLOG}",
    "HAPROXYTIME": r"%{HOUR:haproxy_hour}:%{MINUTE:haproxy_minute}:%{SECOND:haproxy_second}",
    "HAPROXYDATE": (
        r"%{MONTHDAY:haproxy_monthday}/%{MONTH:haproxy_month}/%{YEAR:haproxy_year}:%{HAPROXYTIME:haproxy_time}"
    ),
    "HAPROXYCAPTUREDREQUESTHEADERS": r"%{DATA:captured_request_headers}",
    "HAPROXYCAPTUREDRESPONSEHEADERS": r"%{DATA:captured_response_headers}",
    "HAPROXYHTTPBASE": (
        rf"{_HAPROXY_ROUTE}"
        r"%{INT:time_request}/%{INT:time_queue}/%{INT:time_backend_connect}/%{INT:time_backend_response}/"
        r"%{NOTSPACE:time_duration} %{INT:http_status_code} %{NOTSPACE:bytes_read} "
        r"%{DATA:captured_request_cookie} %{DATA:captured_response_cookie} "
        rf"%{{NOTSPACE:termination_state}} {_HAPROXY_QUEUES} "
        r"(?:\{%{HAPROXYCAPTUREDREQUESTHEADERS}\} ?)?(?:\{%{HAPROXYCAPTUREDRESPONSEHEADERS}\} ?)?"
        r"\"(?:<BADREQ>|%{WORD:http_verb} (?:%{URIPROTO:http_proto}://)?(?:%{USER:http_user}(?::[^@]*)?@)?"
        r"(?:%{URIHOST:http_host})?(?:%{URIPATHPARAM:http_request})?(?: HTTP/%{NUMBER:http_version})?)?\"?"
    ),
    "HAPROXYHTTP": rf"{_HAPROXY_STAMP}%{{HAPROXYHTTPBASE}}",
    "HAPROXYTCP": (
        rf"{_HAPROXY_STAMP}{_HAPROXY_ROUTE}%{{INT:time_queue}}/%{{INT:time_backend_connect}}/%{{NOTSPACE:time_duration}} "
        rf"%{{NOTSPACE:bytes_read}} %{{NOTSPACE:termination_state}} {_HAPROXY_QUEUES}"
    ),
    "SQUID3": (
        r"%{NUMBER:timestamp}\s+%{NUMBER:duration}\s%{IP:client_address}\s%{WORD:cache_result}/%{NONNEGINT:status_code}\s"
        r"%{NUMBER:bytes}\s%{WORD:request_method}\s%{NOTSPACE:url}\s(?:-|%{NOTSPACE:user})\s%{WORD:hierarchy_code}/"
        r"(?:-|%{IPORHOST:server})\s%{NOTSPACE:content_type}"
    ),
    "S3_REQUEST_LINE": _REQUEST,
    "S3_ACCESS_LOG": (
        r"%{WORD:owner} %{NOTSPACE:bucket} \[%{HTTPDATE:timestamp}\] %{IP:clientip} %{NOTSPACE:requester} %{NOTSPACE:request_id} "
        rf"%{{NOTSPACE:operation}} %{{NOTSPACE:key}} (?:\"(?:{_REQUEST})\"|-) (?:-|%{{INT:response}}) "
        r"(?:-|%{NOTSPACE:error_code}) (?:-|%{INT:bytes}) (?:-|%{INT:object_size}) (?:-|%{INT:request_time_ms}) "
        r"(?:-|%{INT:turnaround_time_ms}) "
        r"(?:-|%{QS:referrer}) (?:-|\"?%{QS:agent}\"?) (?:-|%{NOTSPACE:version_id})"
    ),
    "ELB_URIPATHPARAM": r"%{URIPATH:path}(?:%{URIPARAM:params})?",
    "ELB_URI": r"%{URIPROTO:proto}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST:urihost})?(?:%{ELB_URIPATHPARAM})?",
    "ELB_REQUEST_LINE": r"%{WORD:verb} %{ELB_URI:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest}",
    "ELB_ACCESS_LOG": (
        r"%{TIMESTAMP_ISO8601:timestamp} %{NOTSPACE:elb} %{IP:clientip}:%{INT:clientport} "
        r"(?:-|%{IP:backendip}:%{INT:backendport}) %{NUMBER:request_processing_time} %{NUMBER:backend_processing_time} "
        r"%{NUMBER:response_processing_time} (?:-|%{INT:response}) (?:-|%{INT:backend_response}) %{INT:received_bytes} "
        r"%{INT:bytes} \"%{ELB_REQUEST_LINE}\""
    ),
}

_PROGRAMS = {
    "JAVACLASS": r"(?:[a-zA-Z$_][a-zA-Z$_0-9]*\.)*[a-zA-Z$_][a-zA-Z$_0-9]*",
    "JAVAFILE": r"[a-zA-Z$_0-9. -]+",
    "JAVAMETHOD": r"<(?:cl)?init>|[a-zA-Z$_][a-zA-Z$_0-9]*",
    "JAVASTACKTRACEPART": (
        r"%{SPACE}at %{JAVACLASS:class}\.%{JAVAMETHOD:method}\(%{JAVAFILE:file}(?::%{NUMBER:line})?\)"
    ),
    "JAVATHREAD": r"[A-Z]{2}-Processor\d+",
    "JAVALOGMESSAGE": r".*",
    "CATALINA_DATESTAMP": r"%{MONTH} %{MONTHDAY}, %{YEAR} %{HOUR}:?%{MINUTE}(?::?%{SECOND}) (?:AM|PM)",
    "CATALINALOG": r"%{CATALINA_DATESTAMP:timestamp} %{JAVACLASS:class} %{JAVALOGMESSAGE:logmessage}",
    "TOMCAT_DATESTAMP": r"%{YEAR}-%{MONTHNUM}-%{MONTHDAY} %{HOUR}:?%{MINUTE}(?::?%{SECOND}) %{ISO8601_TIMEZONE}",
    "TOMCATLOG": r"%{TOMCAT_DATESTAMP:timestamp} \| %{LOGLEVEL:level} \| %{JAVACLASS:class} - %{JAVALOGMESSAGE:logmessage}",
    "RUBY_LOGLEVEL": r"DEBUG|FATAL|ERROR|WARN|INFO",
    "RUBY_LOGGER": (
        r"[DFEWI], \[%{TIMESTAMP_ISO8601:timestamp} #%{POSINT:pid}\] *%{RUBY_LOGLEVEL:loglevel} -- +%{DATA:progname}: "
        r"%{GREEDYDATA:message}"
    ),
    "POSTGRESQL": r"%{DATESTAMP:timestamp} %{TZ} %{DATA:user_id} %{GREEDYDATA:connection_id} %{POSINT:pid}",
    "REDISTIMESTAMP": r"%{MONTHDAY} %{MONTH} %{TIME}",
    "REDISLOG": r"\[%{POSINT:pid}\] %{REDISTIMESTAMP:timestamp} \* ",
    "REDISMONLOG": (
        r"%{NUMBER:timestamp} \[%{INT:database} %{IP:client}:%{NUMBER:port}\] \"%{WORD:command}\"\s?%{GREEDYDATA:params}"
    ),
    "MONGO_LOG": r"%{SYSLOGTIMESTAMP:timestamp} \[%{WORD:component}\] %{GREEDYDATA:message}",
    "MONGO3_SEVERITY": r"\w",
    "MONGO3_COMPONENT": r"%{WORD}|-",
    "MONGO3_LOG": (
        r"%{TIMESTAMP_ISO8601:timestamp} %{MONGO3_SEVERITY:severity} %{MONGO3_COMPONENT:component}%{SPACE}"
        r"(?:\[%{DATA:context}\])? %{GREEDYDATA:message}"
    ),
    "BIND9_TIMESTAMP": r"%{MONTHDAY}-%{MONTH}-%{YEAR} %{TIME}",
    "BIND9": (
        r"%{BIND9_TIMESTAMP:timestamp} queries: %{LOGLEVEL:loglevel}: client(?: @0x[0-9A-Fa-f]+)? %{IP:clientip}#"
        r"%{POSINT:clientport} \(%{GREEDYDATA:query}\): query: %{GREEDYDATA:query} IN %{GREEDYDATA:querytype} \(%{IP:dns}\)"
    ),
}

FORMATS = _SYSLOG | _WEB | _PROGRAMS
